"""Fill a cart for a sum of money: a world that keeps a state. `aepo train task.name=cart:task model.path=MODEL`."""

import aepo

PRICES = {"bread": 3, "cheese": 7, "apples": 4, "coffee": 9}


class Cart:
    """A cart of its own for each trajectory; a branch goes on with a copy."""

    def reset(self, budget: int) -> str:
        """Begin with an empty cart."""
        self.budget, self.things, self.done = budget, [], False
        return "On sale: " + ", ".join(f"{thing} for {price}" for thing, price in PRICES.items())

    def add(self, thing: str) -> str:
        """Put a thing into the cart.

        Args:
            thing: What to buy.
        """
        if thing not in PRICES:
            raise aepo.ToolError("that is not on sale")
        self.things.append(thing)
        return f"the cart costs {self._cost()}"

    def pay(self) -> str:
        """Pay and leave."""
        self.done = True
        return "paid" if self._cost() <= self.budget else "not enough money"

    def get_reward(self) -> float:
        """1 if the cart is paid and costs exactly the budget."""
        return float(self.done and self._cost() == self.budget)

    def _cost(self) -> int:
        return sum(PRICES[thing] for thing in self.things)


def task() -> aepo.Task:
    """Spend exactly so much money."""
    samples = [
        aepo.Sample(f"Spend exactly {sum_}, then pay.", metadata={"budget": sum_}) for sum_ in (7, 10, 11, 13, 16)
    ]
    world = aepo.environment(Cart, inline=True, sandboxed=True)
    return aepo.Task("cart", samples[1:], environment=world, held_out=samples[:1])
