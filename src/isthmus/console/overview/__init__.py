"""The overview: what is connected and how fresh, what runs, what waits for a decision, what brought the revenue."""
