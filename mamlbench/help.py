def wanted(a):
    return False
