"""A small shop: a threaded WSGI server over SQLite, and a crowd of customers to visit it."""
