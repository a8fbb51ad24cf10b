"""Apps that tests start as servers. Each is made of `making`, as a user's own app would be, with pages for the test."""
