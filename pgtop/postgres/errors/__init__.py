"""The errors of connecting and asking: their kinds, and the sentence and remedy of each.

May import conninfo, core and the errors of pgtop.
"""
