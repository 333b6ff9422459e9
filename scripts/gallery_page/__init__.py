"""The parts of the page that gallery.py writes: what each section computes (one module for each), the texts beside the
pictures (notes.py), pictures as text (embed.py), and the page itself (page.py, templates/)."""
