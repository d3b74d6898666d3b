"""A model whose tokens a method reduces: schedule, cost, block loop and proof."""
