"""What commands write on a terminal: lines, a live panel, tables; and the same tables as Markdown."""
