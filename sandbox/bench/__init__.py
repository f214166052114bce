"""`make bench`: what a sync costs beside the old way and plain SQL, and what was promised of it.

`plan` says what is measured, `website` and `plain` measure it, `results` keeps it, `targets` judges
it, `page` writes it into the documents. What is in `inside` runs in the programs that are measured,
so nothing is imported here.
"""
