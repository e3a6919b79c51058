"""Chinese and English names, made up in the manner of the Pearl River delta.  No real firm or person is meant."""

from __future__ import annotations

ROWS_NORTH = [
    ("滨江大道", "Binjiang Avenue"), ("堤东路", "Didong Road"), ("常安路", "Chang'an Road"),
    ("港口路", "Gangkou Road"), ("育德街", "Yude Street"), ("胜利路", "Shengli Road"),
    ("农林路", "Nonglin Road"), ("迎宾大道", "Yingbin Avenue"), ("天沙路", "Tiansha Road"),
    ("白石路", "Baishi Road"), ("丰乐路", "Fengle Road"), ("北环路", "Beihuan Road"), ("山前路", "Shanqian Road"),
]
ROWS_SOUTH = [
    ("江南大道", "Jiangnan Avenue"), ("麻园路", "Mayuan Road"), ("礼乐路", "Liyue Road"),
    ("金瓯路", "Jin'ou Road"), ("五星路", "Wuxing Road"), ("南环路", "Nanhuan Road"),
]
COLUMNS = [
    ("篁庄路", "Huangzhuang Road"), ("西园路", "Xiyuan Road"), ("西河路", "Xihe Road"), ("象溪路", "Xiangxi Road"),
    ("新市路", "Xinshi Road"), ("莲平路", "Lianping Road"), ("竹排街", "Zhupai Street"), ("蓬莱路", "Penglai Road"),
    ("跃进路", "Yuejin Road"), ("东华路", "Donghua Road"), ("建设路", "Jianshe Road"), ("五邑大道", "Wuyi Avenue"),
    ("华园路", "Huayuan Road"), ("星河路", "Xinghe Road"), ("院士路", "Yuanshi Road"), ("龙湾路", "Longwan Road"),
    ("双龙大道", "Shuanglong Avenue"), ("潮江路", "Chaojiang Road"), ("江翠路", "Jiangcui Road"),
    ("杜阮路", "Duruan Road"), ("丹灶路", "Danzao Road"), ("东升路", "Dongsheng Road"), ("高沙路", "Gaosha Road"),
    ("群星路", "Qunxing Road"), ("棠下路", "Tangxia Road"), ("兴盛路", "Xingsheng Road"), ("康乐路", "Kangle Road"),
]
LANES = [
    ("石湾", "Shiwan"), ("京果", "Jingguo"), ("葵尾", "Kuiwei"), ("书院", "Shuyuan"), ("水街", "Shuijie"),
    ("仓后", "Canghou"), ("范罗冈", "Fanluogang"), ("太平", "Taiping"), ("兴宁", "Xingning"), ("钓台", "Diaotai"),
]
ESTATES = [
    ("江畔花园", "Riverside Garden"), ("丽宫苑", "Ligong Court"), ("星汇名庭", "Star Gather Court"),
    ("碧桂湾", "Osmanthus Bay"), ("怡景湾", "Yijing Bay"), ("锦绣新村", "Jinxiu New Village"),
    ("翠竹苑", "Green Bamboo Court"), ("金汇城", "Jinhui City"), ("嘉福花园", "Jiafu Garden"),
    ("御景豪庭", "Royal View"), ("东湖雅居", "East Lake Residence"), ("荷塘月色", "Lotus Moonlight"),
    ("侨馨苑", "Overseas Home Court"), ("天鹅湾", "Swan Bay"), ("幸福新村", "Happiness New Village"),
    ("凤翔花园", "Phoenix Garden"), ("江山汇", "Jiangshan Hui"), ("紫荆苑", "Bauhinia Court"),
]
COMPANIES = [
    ("大长江机车", "Dachangjiang Motors"), ("甜水食品", "Sweetwater Foods"), ("恒光照明", "Hengguang Lighting"),
    ("联塑管业", "Liansu Pipes"), ("华艺卫浴", "Huayi Sanitary Ware"), ("南轴机械", "Nanzhou Machinery"),
    ("粤新纺织", "Yuexin Textiles"), ("珠西电池", "Zhuxi Batteries"), ("五邑纸品", "Wuyi Paper"), ("侨丰五金", "Qiaofeng Hardware"),
]
TOWERS = [
    ("汇景大厦", "Huijing Tower"), ("江海中心", "Jianghai Centre"), ("侨都国际", "Qiaodu International"),
    ("金融大厦", "Finance Tower"), ("东华广场", "Donghua Plaza"), ("万达天地", "Wanda World"), ("益丞广场", "Yicheng Plaza"),
    ("新之城", "New Town Mall"), ("逢源大厦", "Fengyuan Building"), ("地王广场", "Diwang Plaza"), ("中环大厦", "Central Tower"),
    ("港澳城", "Gang'ao City"), ("海逸酒店", "Harbour Hotel"), ("信用大厦", "Credit Tower"), ("创业园", "Pioneer Park"),
]
SPECIES = [
    ("细叶榕", "Ficus microcarpa"), ("樟树", "Cinnamomum camphora"), ("宫粉紫荆", "Bauhinia variegata"),
    ("木棉", "Bombax ceiba"), ("大王椰", "Roystonea regia"), ("蒲葵", "Livistona chinensis"),
    ("凤凰木", "Delonix regia"), ("马尾松", "Pinus massoniana"), ("桉树", "Eucalyptus urophylla"),
]
