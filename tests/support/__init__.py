"""What several test files share. Imported as ``support``: pytest puts ``tests/`` on the path."""
