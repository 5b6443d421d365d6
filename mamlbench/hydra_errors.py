def one_line(error, arguments):
    return None
