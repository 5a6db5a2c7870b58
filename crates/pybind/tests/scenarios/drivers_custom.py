import hiq
import shop
from clock import seconds


class WithInserter(hiq.HiQSimple):
    def custom(self):
        @self.inserter
        def __my_main(x, y=0):
            return self.o_main(x, y=y)

        self.o_main = shop.main
        shop.main = __my_main

    def custom_disable(self):
        shop.main = self.o_main


class WithExtra(hiq.HiQSimple):
    def custom(self):
        def __my_main(x, y=0):
            @self.inserter_with_extra(extra={"img": "a_rather_long_path/to/picture.jpg", "size": x, "none": None})
            def __z(x, y):
                return self.o_main(x, y=y)

            return __z(x, y)

        self.o_main = shop.main
        shop.main = __my_main

    def custom_disable(self):
        shop.main = self.o_main


original = shop.main
for kind in (WithInserter, WithExtra):
    driver = kind([["shop", "", "func1", "f1"]], metric_funcs=[seconds(*range(20))])
    print(shop.main(4), shop.main(5, y=1))
    driver.show()
    driver.disable_hiq()
    print(shop.main is original)
