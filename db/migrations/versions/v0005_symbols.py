"""What was learned of an uploaded model when it was read, so that a second job with it is checked as well."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("upload", sa.Column("symbols", sa.Text))
