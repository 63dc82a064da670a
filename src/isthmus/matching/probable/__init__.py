"""Who is probably one: pairs with weights and evidence, learned from the rows themselves, and clusters of them."""
