"""Files and uploads.

names      how things are called and shown
create     a form becomes a file
read       list, retrieve, content
remove     delete, and the sweeper's part
uploads    a file in parts
"""
