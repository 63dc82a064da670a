"""Who a record is about: match, merge, split."""
