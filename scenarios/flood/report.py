"""The report that a duty officer can forward: one HTML file with pictures and plots inside, Chinese first, English beside; no external address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from scenarios.flood import pictures
from scenarios.flood.outputs import LEGENDS, NODATA
from scenarios.flood.series_out import Series
from twin.model import Batch, Features, Grid

if TYPE_CHECKING:
    from scenarios.flood.model import Flood

ROWS = 40
"""Rows of a table of what is hit; the layer has all of them."""
CURVES = 12
"""Curves of one plot."""
NAMES = {"initial": "初始水量 initial", "rain": "降雨 rain", "inflow": "入流 inflow", "level_boundary": "水位边界 level boundary", "infiltration": "下渗 infiltration",
         "drainage": "排水能力 drainage", "network_inlets": "进入管网 into the network", "network_manholes": "管网溢出 out of manholes", "edge_north": "北边界 north edge",
         "edge_south": "南边界 south edge", "edge_west": "西边界 west edge", "edge_east": "东边界 east edge", "stored": "地表存水 stored", "imbalance": "不平衡 imbalance"}  # fmt: skip
ACTIONS = {"warned": "警告", "assumed": "假定", "skipped": "略过", "repaired": "修正", "refused": "拒收"}
STYLE = """
body{font:15px/1.55 "Noto Sans CJK SC","Source Han Sans SC","Microsoft YaHei","PingFang SC",sans-serif;color:#1d2733;background:#fff;margin:0 auto;max-width:960px;padding:24px}
h1{font-size:26px;margin:0 0 4px}h2{font-size:19px;margin:32px 0 8px;border-bottom:2px solid #1f5a9e;padding-bottom:3px}small,.en{color:#5d6b7a;font-weight:400}
table{border-collapse:collapse;width:100%;font-size:13px;margin:8px 0}th,td{border-bottom:1px solid #dde3ea;padding:4px 8px;text-align:left;vertical-align:top;overflow-wrap:anywhere}
th{background:#f1f5f9}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}img{width:100%;border:1px solid #cfd8e3}svg{width:100%;font-size:12px;margin:8px 0}
svg .grid{stroke:#e3e8ee}svg .axis{stroke:#777}svg .title{font-size:14px;font-weight:600}.key{font-size:12px;margin:6px 0 14px}.swatch{margin-right:12px;white-space:nowrap}
.swatch i{display:inline-block;width:14px;height:14px;margin-right:4px;vertical-align:-2px;border:1px solid #0002}
.cards{display:flex;flex-wrap:wrap;gap:10px}.card{flex:1 1 130px;background:#f1f5f9;border-left:4px solid #1f5a9e;padding:8px 12px}.card b{display:block;font-size:21px}
.bad{background:#fde8e8;border-left:4px solid #c9184a;padding:8px 12px;margin:8px 0}.good{background:#e8f5ec;border-left:4px solid #2b8a5a;padding:8px 12px;margin:8px 0}
.partial{background:#c9184a;color:#fff;padding:8px 12px;font-weight:600}@media print{body{max-width:none;padding:0}h2{break-after:avoid}tr,svg,img{break-inside:avoid}}
"""


def page(model: Flood, out: Mapping[str, Sequence[Batch]], facts: dict[str, Any]) -> str:
    """The whole file. `out` are the run's outputs, `facts` what it found."""
    sections = [_head(model, facts), _cards(model, out, facts), _fitness(model, facts), _maps(model, out), _spread(model, out, facts),
                _plots(model.series()), _hit(model, out), _ledger(out, facts), _parameters(model), _notes(model)]  # fmt: skip
    body = "\n".join(text for text in sections if text)
    return (f'<!DOCTYPE html>\n<html lang="zh-CN"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>洪涝模拟报告 Flood report</title>'
            f"<style>{STYLE}</style></head><body>\n{body}\n</body></html>\n")  # fmt: skip


def _head(model: Flood, facts: dict[str, Any]) -> str:
    partial = facts.get("partial") or model.world.report.facts.get("partial")
    mark = f'<p class="partial">未完成的结果：算至 {partial["until_s"]:.0f} 秒（共 {partial["of_s"]:.0f} 秒） · Partial result ({escape(partial["why"])})</p>' if partial else ""
    p = model.params
    when = f"，自 {escape(p.start)} 起" if p.start else ""
    return (f"{mark}<h1>洪涝模拟报告 <small>Flood report</small></h1><p>地形 <b>{escape(p.terrain)}</b>，{facts['cells']:,} 个网格（{facts['cell_m']:g} 米），"
            f"模拟 {model.time / 3600:.2f} 小时{when}。格式 {escape(str(facts['scheme']))}，坐标系 {escape(str(facts['crs'])[:60])}。"
            f"<br><span class=en>Terrain {escape(p.terrain)}, {facts['cells']:,} cells of {facts['cell_m']:g} m, {model.time / 3600:.2f} hours of model time.</span></p>")  # fmt: skip


def _cards(model: Flood, out: Mapping[str, Sequence[Batch]], facts: dict[str, Any]) -> str:
    shown = [(f"{facts['max_depth_m']:.2f} m", "最大水深", "greatest depth"), (f"{facts['flooded_m2'] / 1e4:,.2f} ha", f"淹没面积（≥ {model.params.threshold * 100:g} cm）", "flooded area"),
             (f"{facts['max_speed_m_s']:.2f} m/s", "最大流速", "greatest speed")]  # fmt: skip
    buildings = _rows(out.get("buildings", []))
    if model.params.buildings and "buildings" in out:
        shown.append((f"{len(buildings):,}", "受淹建筑", "flooded buildings"))
        shown.append((f"{sum(row['flood_people'] for row in buildings):,.0f}", "受影响人口", "people in them"))
        lost = [row["flood_damage"] for row in buildings if row.get("flood_damage") is not None]
        if lost:
            shown.append((f"{sum(lost):,.0f}", "直接损失（输入币种）", "direct damage (currency as entered)"))
    if model.params.roads and "roads" in out:
        shown.append((f"{sum(len(b) for b in out['roads'] if isinstance(b, Features)):,}", "受淹路段", "flooded road segments"))
    return '<div class="cards">' + "".join(f'<div class="card"><b>{value}</b>{zh} <span class="en">{en}</span></div>' for value, zh, en in shown) + "</div>"


def _fitness(model: Flood, facts: dict[str, Any]) -> str:
    share = abs(facts["imbalance_share"])
    warned = [note for note in model.world.report.notes if note.action == "warned" and note.feature == "scheme"]
    fit = "".join(f'<p class="bad">计算格式不适用：{escape(note.reason)}</p>' for note in warned)
    if not fit:
        inertial = "缓流适用；未见急流越限 · slow flow only; no fast flow was seen" if facts["scheme"] == "inertial" else "完整浅水方程，缓流、急流均适用 · full equations, fit for slow and fast flow"
        fit = f'<p class="good">计算格式 {escape(str(facts["scheme"]))}：{inertial}</p>'
    return f'<h2>可信度 <small>Fitness and balance</small></h2>{fit}<p class="{"good" if share < 1e-5 else "bad"}">水量不平衡占通过水量的 {share:.1e}（未作任何校正） · imbalance of the water turned over; nothing is corrected</p>'


def _maps(model: Flood, out: Mapping[str, Sequence[Batch]]) -> str:
    light = pictures.hillshade(model.domain.bed, model.solver.cell, model.domain.walls)
    found = []
    for name, title in (("depth", "最大水深图 <small>Greatest depth</small>"), ("hazard", "危险度图 <small>Hazard rating</small>")):
        grid = next((b for b in out.get(name, []) if isinstance(b, Grid)), None)
        if grid is not None:
            values = np.where(grid.data[0] == NODATA, np.nan, grid.data[0])
            found.append(f"<h2>{title}</h2>{pictures.chart(values, LEGENDS[name], light, model.domain.walls, name)}{pictures.key(LEGENDS[name])}")
    return "".join(found) or "<h2>最大水深图</h2><p>没有达到淹没标准的地方 · nowhere reached the threshold</p>"


def _spread(model: Flood, out: Mapping[str, Sequence[Batch]], facts: dict[str, Any]) -> str:
    if "spread" not in facts:
        return ""
    names = {"least": "偏少 least", "likely": "最可能 likely", "most": "偏多 most"}
    rows = [[names[m], f"{v['max_depth_m']:.3f}", f"{v['flooded_m2'] / 1e4:,.2f}", f"{v['imbalance_share']:.1e}"] for m, v in sorted(facts["spread"]["members"].items(), key=lambda m: list(names).index(m[0]))]
    told = "，".join(f"{escape(r['parameter'])} {r['low']:g} / {getattr(model.params, r['parameter']):g} / {r['high']:g}" for r in facts["spread"]["parameters"])
    light = pictures.hillshade(model.domain.bed, model.solver.cell, model.domain.walls)
    maps = ""
    for name in ("depth-least", "depth-most"):
        grid = next((b for b in out.get(name, []) if isinstance(b, Grid)), None)
        if grid is not None:
            maps += f"{pictures.chart(np.where(grid.data[0] == NODATA, np.nan, grid.data[0]), LEGENDS[name], light, model.domain.walls, name)}{pictures.key(LEGENDS[name])}"
    return f"<h2>不确定性 <small>Spread of three runs, not a probability</small></h2><p>{told}</p>{_table(['模拟 run', '最大水深 max depth, m', '淹没面积 flooded, ha', '不平衡 imbalance'], rows, numeric={1, 2, 3})}{maps}"


def _plots(series: list[Series]) -> str:
    kinds = (("gauge", "depth", "测站水深 Depth at gauges"), ("section", "discharge", "断面流量 Discharge through sections"), ("manhole", "exchange", "检查井交换流量（进管网为正） Exchange at manholes (into the network positive)"))
    found = []
    for kind, quantity, title in kinds:
        mine = [s for s in series if (s.kind, s.quantity) == (kind, quantity) and len(s.time)]
        largest = sorted(mine, key=lambda s: -float(np.abs(s.values).max()))[:CURVES]
        more = f"<p class=en>另有 {len(mine) - CURVES} 条未绘出，见 hydrographs 图层 · the others are in the layer</p>" if len(mine) > CURVES else ""
        if largest:
            found.append(pictures.curves([(s.name, s.time, s.values) for s in largest], largest[0].unit, title) + more)
    return "<h2>过程线 <small>Hydrographs</small></h2>" + "".join(found) if found else ""


def _hit(model: Flood, out: Mapping[str, Sequence[Batch]]) -> str:
    found = []
    for name, title in (("buildings", "受淹建筑 <small>Flooded buildings</small>"), ("roads", "受淹路段 <small>Flooded road segments</small>"), ("facilities", "受淹重要设施 <small>Critical facilities</small>")):
        if not getattr(model.params, name) or name not in out:
            continue
        rows = sorted(_rows(out[name]), key=lambda row: -row["flood_depth"])
        if not rows:
            found.append(f"<h2>{title}</h2><p>无 · none</p>")
            continue
        columns = {"id": "编号 id", "name": "名称 name", "flood_depth": "水深 depth, m", "flood_entry": "进水 entry, min", "flood_damage_share": "损失率 damage", "flood_damage": "损失 loss",
                   "flood_people": "人口 people", "flood_closure_zh": "通行 state",
                   **{f"closed_{v.name}_{end}": f"{v.zh or v.name} {zh}, min" for v in model.params.vehicles for end, zh in (("from", "中断"), ("until", "恢复"))}}  # fmt: skip
        there = [c for c in columns if any(row.get(c) is not None for row in rows)]
        more = f"<p class=en>最深的 {ROWS} 个（共 {len(rows):,} 个），全部见图层 · the deepest {ROWS} of {len(rows):,}</p>" if len(rows) > ROWS else ""
        found.append(f"<h2>{title}</h2>{more}" + _table([columns[c] for c in there], [[_cell(c, row.get(c)) for c in there] for row in rows[:ROWS]], {i for i, c in enumerate(there) if c not in ("id", "name", "flood_closure_zh")}))
    return "".join(found)


def _cell(column: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    minutes = column == "flood_entry" or column.startswith("closed_")
    return f"{value / 60:.0f}" if minutes else f"{value:.1%}" if column == "flood_damage_share" else f"{value:,.2f}" if column == "flood_depth" else f"{value:,.0f}"


def _ledger(out: Mapping[str, Sequence[Batch]], facts: dict[str, Any]) -> str:
    rows = _rows(out.get("ledger", []))
    if not rows:
        rows = [{"kind": "", "account": k, "part_of": "", "volume": v, "moved": 0.0} for k, v in facts["water_m3"].items()]
    parts = [row for row in rows if row["part_of"]]
    shown = [[("　└ " if row["part_of"] else "") + NAMES.get(row["account"], row["account"]), f"{row['volume']:+,.3f}" if row["volume"] or not row["moved"] else "",
              f"{row['moved']:,.3f}" if row["moved"] else ""] for row in [r for r in rows if not r["part_of"]] + sorted(parts, key=lambda r: -abs(r["volume"] or r["moved"]))[: 2 * ROWS]]  # fmt: skip
    seconds = f"SWMM 自身连续性误差单列：{escape(str({k: v for k, v in facts.get('network', {}).items() if 'continuity' in k or 'error' in k}))}" if "network" in facts else ""
    return f"<h2>水量账 <small>Ledger of water</small></h2>{_table(['科目 account', '进（+）出（−）地表 m³', '通过 passed m³'], shown, {1, 2})}<p class=en>{seconds}</p>"


def _parameters(model: Flood) -> str:
    schema = type(model.params).model_fields
    rows = []
    for name, value in model.params.model_dump(mode="json").items():
        default = schema[name].get_default(call_default_factory=True)
        plain = [row.model_dump(mode="json") if hasattr(row, "model_dump") else row for row in default] if isinstance(default, tuple) else default
        if value != plain and name != "uncertain":
            extra = schema[name].json_schema_extra
            zh = str(extra.get("x-title-zh", "")) if isinstance(extra, dict) else ""
            text = str(value)
            rows.append([f"{zh} {name}", text if len(text) <= 300 else f"{text[:300]}… （{len(text):,} 字符）"])
    return f"<h2>参数 <small>Parameters that differ from their defaults</small></h2>{_table(['参数 parameter', '值 value'], rows, set())}"


def _notes(model: Flood) -> str:
    notes = sorted(model.world.report.notes, key=lambda note: note.action != "warned")
    rows = [[f"{ACTIONS[note.action]} {note.action}", note.feature, note.reason] for note in notes[:200]]
    return f"<h2>警告与假定 <small>Warnings and assumptions</small></h2>{_table(['', '对象 of', '内容 what'], rows, set()) if rows else '<p>无 · none</p>'}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], numeric: set[int]) -> str:
    head = "".join(f"<th{' class=n' if i in numeric else ''}>{escape(text)}</th>" for i, text in enumerate(heads))
    body = "".join("<tr>" + "".join(f"<td{' class=n' if i in numeric else ''}>{escape(text)}</td>" for i, text in enumerate(row)) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _rows(batches: Sequence[Batch]) -> list[dict[str, Any]]:
    """The features of an output as rows with their ids."""
    found: list[dict[str, Any]] = []
    for batch in batches:
        if isinstance(batch, Features):
            table = batch.attributes
            names = [name for name in table.column_names if not pa.types.is_nested(table.schema.field(name).type)]
            found += [{"id": identity, **row} for identity, row in zip(batch.ids.to_pylist(), table.select(names).to_pylist(), strict=True)]
    return found
