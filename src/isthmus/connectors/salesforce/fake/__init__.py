"""A fake organisation of Salesforce's for tests: its documented REST and Bulk 2.0 interfaces, over rows in memory.

It is as strict as the documentation: refuses what Salesforce refuses, with its codes and sentences.
"""
