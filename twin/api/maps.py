"""Map tiles: placeholder router until twin.maps is there."""

from fastapi import APIRouter

router = APIRouter(tags=["Maps"])
