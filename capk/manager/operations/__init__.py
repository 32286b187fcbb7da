"""What each operation does: one module per request of a plan. `capk.manager.executor` chooses among them."""
