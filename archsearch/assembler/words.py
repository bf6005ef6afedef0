def in_words(document):
    return str(document.get("graph"))
