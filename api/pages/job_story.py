"""The story of a job, from its rows in the database."""

import json
from typing import Any

from tilewright.api.pages.story import Story, tell
from tilewright.api.service import Service
from tilewright.db.service.job_rows import JobRow


async def story_of(service: Service, job: JobRow) -> Story:
    """All parts of a job's page."""
    events = await service.threads(service.jobs.outline, job.uid)
    files: dict[str, Any] = {}
    for name in ("pictures.json",):
        digest = (json.loads(job.result).get("files", {}) if job.result else {}).get(name)
        content = await service.threads(service.uploads.get, digest) if digest else None
        if content is not None:
            files[name] = json.loads(content)
    return tell(job, events, files.get("pictures.json", {}))
