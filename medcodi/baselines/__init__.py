"""Systems that medcodi is compared with, one file a system."""
