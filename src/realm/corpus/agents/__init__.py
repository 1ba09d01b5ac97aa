"""What agents leave behind: sessions, work items, terminals; read, followed and judged."""
