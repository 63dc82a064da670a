"""Policies that look at the circumstances of a call: written in Cedar, compiled here, proven to answer as Cedar does.

terms       what a policy says
language    text to terms; Cedar reads, what is not evaluated here is refused by name
vocabulary  what policies may speak of, as a Cedar schema made from routes and record types
evaluate    terms to functions, for the hot path
partial     terms with everything known put in, so that only the record is left
filters     what is left, as a condition in SQL
"""
