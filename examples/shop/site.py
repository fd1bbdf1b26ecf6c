"""The shop's web site: search, articles, cart and checkout, with failures that come as they do on real sites."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from html import escape

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from examples.shop.store import COLOURS, Store

DELIVERIES = ("Standard", "Express", "Pick up")
# The number in the head comes by a request of its own, as on many sites.
PAGE = """<!doctype html><title>{title} - The Shop</title>
<style>body {{ font: 16px sans-serif; margin: 2em }} td, th {{ padding: 4px 12px }} .warn {{ color: #a00 }}</style>
<nav><a href="/">The Shop</a> | <a href="/cart">Cart (<span id=count>...</span>)</a>
<form action="/search"><input name=words placeholder="Search"> <button>Search</button></form></nav>
<h1>{title}</h1>
{body}
<script>fetch('/count').then(r => r.text()).then(t => document.getElementById('count').textContent = t)</script>"""

Answer = Callable[[Request, str], Awaitable[Response]]


@dataclass(frozen=True)
class Failures:
    """How often a request fails; which ones is drawn by the seed of the visit, so a replay meets the same.

    Attributes:
        broken: Answers of status 500, which change nothing.
        slow: Answers that take a second.
        stale: Carts that another tab has changed meanwhile, so that the checkout must be done again.
    """

    broken: float = 0.1
    slow: float = 0.1
    stale: float = 0.1

    def draw(self, seed: int, request: int) -> str:
        """What happens to a request."""
        kinds, shares = ("broken", "slow", "stale"), (self.broken, self.slow, self.stale)
        return random.Random(f"{seed} {request}").choices((*kinds, ""), (*shares, 1 - sum(shares)))[0]


USUAL = Failures()


def site(store: Store, failures: Failures) -> Starlette:
    """The application."""

    def guarded(answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        async def answered(request: Request) -> Response:
            visit = request.cookies.get("visit", "")
            drawn = store.request(visit)
            if drawn is None:
                return page("No visit", "<p>Enter by the front door.", 403)
            happens = failures.draw(*drawn)
            if happens == "broken":
                return page("Something went wrong", "<p class=warn>Error 500. Please try again.", 500)
            if happens == "slow":
                await anyio.sleep(1.0)
            if happens == "stale" and store.cart(visit):
                store.version(visit, 1)
            return await answer(request, visit)

        return answered

    async def enter(request: Request) -> Response:
        went = RedirectResponse("/", 303)
        went.set_cookie("visit", store.enter(int(request.query_params["seed"])), httponly=True, samesite="strict")
        return went

    async def count(request: Request) -> Response:
        return PlainTextResponse(str(sum(line.number for line in store.cart(request.cookies.get("visit", "")))))

    async def home(request: Request, visit: str) -> Response:
        return page("Welcome", f"<p>{len(store.find(()))} articles. Search for a kind or a style.")

    async def search(request: Request, visit: str) -> Response:
        words = request.query_params.get("words", "").split()
        found = store.find(words) if words else []
        rows = [f"<tr><td><a href='/article/{n}'>{name}</a><td>{money(cents)}" for n, name, cents in found[:10]]
        table = f"<table><tr><th>Article<th>Price{''.join(rows)}</table>" if rows else "<p>Nothing found."
        return page(f"Results for {escape(' '.join(words))}", table)

    async def article(request: Request, visit: str) -> Response:
        found = store.article(request.path_params["number"])
        if found is None:
            return page("Not here", "<p>There is no such article.", 404)
        number, name, cents = found
        return page(
            name.title(),
            f"<p>Price: {money(cents)}<form method=post action='/cart'>{hidden(article=number)}"
            f"<label>Colour {choice('colour', COLOURS)}</label> <label>Number <input name=number value=1></label> "
            "<button>Add to cart</button></form>",
        )

    async def cart(request: Request, visit: str) -> Response:
        rows = []
        for line in store.cart(visit):
            _, name, cents = store.article(line.article) or (0, "?", 0)
            kept = hidden(article=line.article, colour=line.colour, number=0)
            rows.append(
                f"<tr><td>{name}<td>{line.colour}<td>{line.number}<td>{money(cents * line.number)}<td>"
                f"<form method=post action='/cart'>{kept}<button>Remove</button></form>"
            )
        if not rows:
            return page("Your cart", "<p>It is empty.")
        head = "<tr><th>Article<th>Colour<th>Number<th>Price<th>"
        return page("Your cart", f"<table>{head}{''.join(rows)}</table><a href='/checkout'>Check out</a>")

    async def put(request: Request, visit: str) -> Response:
        form = await request.form()
        number, colour = str(form.get("number", "")), str(form.get("colour", ""))
        if not number.isdecimal() or int(number) > 99 or colour not in COLOURS:
            return page("Not added", "<p class=warn>The number must be from 0 to 99.", 422)
        store.put(visit, int(str(form["article"])), colour, int(number))
        return RedirectResponse("/cart", 303)

    async def checkout(request: Request, visit: str) -> Response:
        if not store.cart(visit):
            return page("Check out", "<p>Your cart is empty.")
        return page(
            "Check out",
            f"<form method=post action='/checkout'>{hidden(version=store.version(visit))}"
            f"<p><label>Name <input name=name></label><p>Delivery: {radios('delivery', DELIVERIES)}"
            "<p><button>Buy now</button></form>",
        )

    async def buy(request: Request, visit: str) -> Response:
        form = await request.form()
        if store.order(visit) is not None or not store.cart(visit):
            return page("Check out", "<p>There is nothing to buy.", 409)
        if str(form.get("version")) != str(store.version(visit)):
            return page(
                "Your cart has changed",
                "<p class=warn>It was changed in another window. Nothing was bought. "
                "<a href='/cart'>Look at it again</a>",
                409,
            )
        if not form.get("name") or form.get("delivery") not in DELIVERIES:
            return page("Check out", "<p class=warn>Name and delivery are missing. <a href='/checkout'>Back</a>", 422)
        store.buy(visit, str(form["name"]).strip(), str(form["delivery"]))
        return page("Thank you", "<p>Your order is on its way.")

    def page(title: str, body: str, status: int = 200) -> HTMLResponse:
        return HTMLResponse(PAGE.format(title=title, body=body), status)

    return Starlette(
        routes=[
            Route("/enter", enter),
            Route("/count", count),
            Route("/", guarded(home)),
            Route("/search", guarded(search)),
            Route("/article/{number:int}", guarded(article)),
            Route("/cart", guarded(cart)),
            Route("/cart", guarded(put), methods=["POST"]),
            Route("/checkout", guarded(checkout)),
            Route("/checkout", guarded(buy), methods=["POST"]),
        ]
    )


def money(cents: int) -> str:
    """A price."""
    return f"{cents / 100:.2f} EUR"


def hidden(**values: object) -> str:
    """Fields of a form that nobody sees."""
    return "".join(f"<input type=hidden name={name} value={value}>" for name, value in values.items())


def choice(name: str, options: tuple[str, ...]) -> str:
    """A list to select from."""
    return f"<select name={name}>{''.join(f'<option>{option}' for option in options)}</select>"


def radios(name: str, options: tuple[str, ...]) -> str:
    """Radio buttons."""
    return " ".join(f"<label><input type=radio name={name} value='{o}'> {o}</label>" for o in options)
