"""Figures and tables, from files; imports no training.

`report.curves` needs matplotlib and is imported where a figure is asked for.
"""
