"""A stand-in for the sites that people have: the contract and nothing more, in plain Django.

It answers as the real production site does (`tests/site_contract/samples.json`), offers no
capability, and hears no preference. What a request costs there it costs here at least: see `costs`.
"""
