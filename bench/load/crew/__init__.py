"""A load that several processes share: its master, its workers here and on other hosts, and what goes between them."""
