"""The pure part of watching traffic: histograms, their text and wire forms, objectives and how fast budgets burn."""
