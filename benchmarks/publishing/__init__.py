"""What is made of the stored runs for others: tables of data, pages, pictures."""
