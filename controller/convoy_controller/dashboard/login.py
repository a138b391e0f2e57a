"""The page that asks for a token. Plain HTML without a script, so that nothing but it stands open."""

from __future__ import annotations

from html import escape
from urllib.parse import quote, urlsplit

from starlette.datastructures import URL
from starlette.responses import HTMLResponse

PATH = "/login"
#: The cookie that holds the token; scripts cannot read it.
COOKIE = "convoy_token"
#: Seconds that a browser keeps it. Whether the token counts is asked anew at each request.
COOKIE_S = 30 * 24 * 3600

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Log in · Convoy</title>
<link rel="icon" href="/assets/convoy.svg">
<link rel="stylesheet" href="/assets/style.css">
</head>
<body class="convoy-login">
<main>
<h1>Convoy</h1>
{fault}
<form method="post" action="{path}">
<input type="hidden" name="next" value="{following}">
<label for="token">Token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus
 aria-describedby="how{described}">
<p id="how">On the machine of the controller, <code>convoy token create NAME --role viewer</code> makes one.</p>
<button type="submit">Log in</button>
</form>
</main>
</body>
</html>
"""


def login_page(following: str, fault: str = "", status: int = 200) -> HTMLResponse:
    """The form; `following` is where one wanted to go, `fault` why one was not let in."""
    told = f'<p id="fault" class="convoy-fault" role="alert">{escape(fault)}</p>' if fault else ""
    text = _PAGE.format(
        fault=told, path=PATH, following=escape(local_path(following)), described=" fault" if fault else ""
    )
    return HTMLResponse(text, status, {"Cache-Control": "no-store"})


def address(wanted: URL) -> str:
    """Where the form is for someone who wanted to see that page."""
    following = wanted.path + (f"?{wanted.query}" if wanted.query else "")
    return f"{PATH}?next={quote(following, safe='')}"


def local_path(text: str) -> str:
    """`text` if it is a path of ours, else the fleet's page: nobody is sent to another host."""
    parts = urlsplit(text.replace("\\", "/")[:2000])
    is_ours = not parts.scheme and not parts.netloc and parts.path.startswith("/") and not parts.path.startswith("//")
    if not is_ours or any(ord(character) < 32 for character in text) or parts.path.startswith(PATH):
        return "/"
    return parts.path + (f"?{parts.query}" if parts.query else "")
