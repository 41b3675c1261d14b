"""Fits a line through noisy points and says how well that went: proof that the installed packages work."""

import numpy
import pandas
from sklearn.linear_model import LinearRegression


def main() -> None:
    random = numpy.random.default_rng(seed=1)
    points = pandas.DataFrame({"x": numpy.arange(1000.0)})
    points["y"] = 3 * points["x"] + random.normal(scale=10, size=len(points))
    model = LinearRegression().fit(points[["x"]], points["y"])
    print(f"slope {model.coef_[0]:.3f}, r2 {model.score(points[['x']], points['y']):.3f}")


if __name__ == "__main__":
    main()
