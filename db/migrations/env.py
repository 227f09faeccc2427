"""Alembic's entry: our own version table, and no eyes for tables that are not ours."""

from alembic import context

from tilewright.db.storage.migrate import ours
from tilewright.db.storage.schema import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    include_name=ours,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
