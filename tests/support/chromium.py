"""How tests start Chromium, and a look whether one runs: ``python -m support.chromium /usr/bin/chromium``."""

from __future__ import annotations

import sys

from playwright.sync_api import Error, sync_playwright

#: For ``chromium.launch(executable_path=…, args=CHROMIUM_ARGS)``. No sandbox, since tests may run as root in a
#: container; nothing that looks for a network outside, since there may be none.
CHROMIUM_ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-pings",
)


def problem_with(path: str) -> str | None:
    """Why the Chromium at ``path`` is of no use here, or None if it shows a page.

    A look at ``--version`` is not enough: the package of some systems is a stub, and a build may start and then hang.
    """
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGS, timeout=60_000)
            page = browser.new_page()
            page.set_content("<p></p><script>document.querySelector('p').textContent = 6 * 7</script>")
            shown = page.text_content("p")
            browser.close()
    except Error as error:
        return error.message
    return None if shown == "42" else f"it showed {shown!r} for 42"


if __name__ == "__main__":
    problem = problem_with(sys.argv[1])
    if problem is not None:
        sys.exit(f"{sys.argv[1]} does not run here: {problem}")
