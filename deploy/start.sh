# Puts the database's password from its file into the URL, then becomes `tune`.
set -eu
TILEWRIGHT_DATABASE="postgresql://tilewright:$(cat /run/secrets/postgres_password)@${POSTGRES_HOST}/tilewright"
export TILEWRIGHT_DATABASE
exec tune "$@"
