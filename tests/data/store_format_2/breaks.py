"""A method that fails at its first image, in the store beside this file."""

from keeprate import Attention, Method, Stage, Tokens, hookimpl


class Breaks(Method):
    """Raises an error."""

    name = "breaks"

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> object:
        raise ValueError("no score today")


@hookimpl
def keeprate_methods() -> list[type[Method]]:
    return [Breaks]
