"""The protocol of the device that measured, and which trials are of the default Config.

Answers from before say neither: nothing shows that they beat their default, so they are served no more. Their
trials stay, as priors of the next search and as claims of `tune db verify`.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("run", sa.Column("protocol", sa.String(200), nullable=False, server_default=""))
    op.add_column("trial", sa.Column("is_default", sa.Boolean, nullable=False, server_default=sa.false()))
    op.execute(
        "DELETE FROM best WHERE workload_digest IN (SELECT digest FROM workload WHERE kind <> 'foreign')"
    )
