"""Figures, tables and HTML pages, made from the files of runs and leagues.

`report.curves` needs matplotlib and is imported where a figure is asked for.
"""
