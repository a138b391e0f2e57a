"""The dashboard: what the one on call looks at. Pages by NiceGUI over the named queries, live without reload.

It shares the API's address, its tokens and its database, and is served by `convoy api` alone; importing it costs a
second, so that nothing else does. `front` parts it from the API, `door` lets in who may, `layout` puts head and
navigation round each page, `live` keeps it up, `parts` is what pages are put together from.

How a page is made:

1. A module of its noun in `pages/`, with a builder `async def things(request: Request, ...) -> None` whose further
   parameters are of the path and the query, and a `register()` that gives it to `ui.page(PATH, title=...)`, called by
   `pages.register`. What is in the navigation stands in `layout.NAVIGATION`.
2. Within `with frame(request, "Things", PATH) as view:` it makes its elements once: one h1 is there already, sections
   begin with `text("h2", ...)`, tables are `table.Table`, states are told by `parts.Sign` (glyph, word, colour).
   No template in a slot: NiceGUI draws those anew at each update, and the reader loses his place.
3. `await view.keep(read, show, on={"boards", EVENTS})`: `read` runs in a thread, calls named queries over
   `view.database` and returns plain data; `show(data)` puts it into the elements, and is called again only when the
   data differ, at most once a second. `on` names kinds of `database.marks`. It sets texts and rows; what it makes and
   clears anew each time loses the reader's place.
4. What the reader chooses goes into the address (`view.remember`), followed by `await view.again(reading)`.
5. Every control has a name, nothing is told by colour alone, what comes live is in no live region but one short
   sentence that seldom changes. It is good when empty: it says what to do first, as the command line would.
6. Its tests: `tests/dashboard/test_<page>.py` with the rig of `tests/dashboard/conftest.py`; `PAGES` in
   `tests/dashboard/test_every_page.py` gets its path, and with it axe, light and dark, phone width, and that nothing
   leaves the host.

Importing this package imports nothing of it.
"""
