"""Is the platform up?"""

from fastapi import APIRouter, Response

from api.dependencies import PlatformDep
from api.errors import ErrorView
from api.schemas import Health
from domain.errors import DatabaseUnavailable
from services import engine_reports

router = APIRouter(tags=["health"])


@router.get("/health", responses={503: {"model": Health | ErrorView, "description": "degraded, or rows_unguarded"}})
async def health(platform: PlatformDep, response: Response) -> Health:
    """200 while the database answers; `workers` says whether anybody would take a job."""
    try:
        workers = await engine_reports.any_worker(platform)
    except DatabaseUnavailable:
        response.status_code = 503
        return Health(status="degraded", database=False, workers=False)
    return Health(status="ok" if workers else "degraded", database=True, workers=workers)
