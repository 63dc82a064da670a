"""Pull, push, cursors, claims, conflicts, discrepancies, the inbox: what keeps systems in step."""
