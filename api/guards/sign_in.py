"""The page that asks for a key. It needs no other file: without a key nothing else is served, not even a
style sheet.
"""

import secrets

from starlette.responses import HTMLResponse

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sign in - Tilewright</title>
<style nonce="{nonce}">
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 26rem; margin: 10vh auto; padding: 0 1rem; }}
label, input, button {{ display: block; width: 100%; box-sizing: border-box; font: inherit; }}
input, button {{ margin: .4rem 0 1rem; padding: .5rem; }}
.wrong {{ color: #a00; }}
</style>
</head>
<body>
<main>
<h1>Tilewright</h1>
<form method="post" action="/sign-in">
{wrong}
<label for="key">API key</label>
<input id="key" name="key" type="password" autocomplete="current-password" required autofocus>
<button type="submit">Sign in</button>
</form>
<p>Whoever runs this service makes keys with <code>tune keys create</code>.</p>
</main>
</body>
</html>
"""


def sign_in_page(status: int, wrong: bool = False) -> HTMLResponse:
    """The page, with a policy of its own that admits its one style."""
    nonce = secrets.token_urlsafe(16)
    message = '<p class="wrong" role="alert">That key is not valid here.</p>' if wrong else ""
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    return HTMLResponse(
        _PAGE.format(nonce=nonce, wrong=message), status, headers={"Content-Security-Policy": policy}
    )
