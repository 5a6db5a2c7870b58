"""The program that the scenarios trace."""


def main(x=1, *, y=2):
    return func1(x) + y


def func1(x):
    return func2(x) + func3()


def func2(x):
    return x * 2


def func3():
    return 3


def fails():
    return inner()


def inner():
    raise ValueError("an_exception")


class Store:
    def get(self, key):
        return self.find(key)

    def find(self, key):
        return key


constant = 3
