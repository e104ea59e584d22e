"""What was compared: as rows that are saved, and as a table for a person."""

import json
import textwrap
from dataclasses import asdict
from typing import Any

from rnnbook.extras import needed
from rnnbook.forecast.comparison import MARGIN, Comparison, Plan
from rnnbook.forecast.many import Many
from rnnbook.forecast.verdicts import fewest_origins, holm

with needed("forecast"):
    import pandas as pd

WIDTH = 88  # of what is printed, at most, as far as names allow


def rows_of(found: Comparison, plan: Plan) -> list[dict[str, Any]]:
    """What is printed and saved of each candidate, the least error in validation first."""
    differences = found.differences()
    results = sorted(found.results.items(), key=lambda item: item[1].validation.overall())
    return [
        {
            "name": name,
            "setting": result.setting,
            "at_edge": result.at_edge,
            "validation_rmse": result.validation.overall(),
            "test_rmse": result.test.rmse().tolist(),
            "test_mase": result.test.mase(found.scale).tolist(),
            "difference": asdict(differences[name]) if name in differences else None,
            "covered": result.covered(plan.coverage),
        }
        for name, result in results
    ]


def text_of(rows: list[dict[str, Any]], found: Comparison, plan: Plan) -> str:
    """The tables for a person: the errors, then the differences to the chosen one, if any."""
    steps = plan.steps
    ahead = f"{1} {steps}".split() if steps > 1 else ["1"]
    head = f"{'':26}{'validation':>11}"
    head += "".join(f"{f'RMSE {k}':>10}" for k in ahead) + "".join(
        f"{f'MASE {k}':>9}" for k in ahead
    )
    lines = [f"{head}{'covered':>9}"]
    for row in rows:
        at = [0, steps - 1] if steps > 1 else [0]
        line = f"{row['name']:26}{row['validation_rmse']:11.4g}"
        line += "".join(f"{row['test_rmse'][k]:10.4g}" for k in at)
        line += "".join(f"{row['test_mase'][k]:9.3g}" for k in at)
        lines.append(f"{line}{row['covered']:9.0%}")
    over = found.loss_steps()
    origins = len(found.results[found.best].test.origins)
    lines += [
        f"RMSE and MASE at {' and '.join(ahead)} steps ahead on the test part, {origins} origins;",
        f"covered: the share of it within {100 * plan.coverage:g} % intervals.",
    ]
    if over:
        averaged = f"averaged over {over} steps ahead" if over > 1 else "one step ahead"
        lines += ["", f"{f'squared error minus that of {found.best}':40}  mean [95 %], p"]
        lines += [
            f"{row['name']:40}  {_difference(row['difference'])}"
            for row in rows
            if row["name"] != found.best
        ]
        lines.append(f"in pairs, {averaged}; p by Holm")
    else:
        lines += _wrapped(
            f"Squared errors are not compared: that takes {fewest_origins(1)} origins."
        )
    lines.append("")
    for row in rows:
        for name in row["at_edge"]:
            lines += _wrapped(
                f"{row['name']}: the best {name}, {row['setting'][name]:g}, is the last allowed."
            )
    setting = next(row["setting"] for row in rows if row["name"] == found.best)
    lines += _wrapped(
        f"chosen: {found.best} {_setting(setting)}".rstrip()
        + f", the simplest within {100 * MARGIN:g} % of the least error in validation"
    )
    if found.as_good():
        lines += _wrapped(
            f"not told from it by validation, the simplest first: {', '.join(found.as_good())}"
        )
    return "\n".join(lines)


def _wrapped(sentence: str) -> list[str]:
    return textwrap.wrap(sentence, WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def _difference(row: dict[str, float] | None) -> str:
    if row is None:
        return "-"
    return f"{row['mean']:.3g} [{row['low']:.3g}, {row['high']:.3g}], {row['p']:.2g}"


def _setting(setting: dict[str, Any]) -> str:
    said = ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in setting.items()
    )
    return f"({said})" if said else ""


def many_rows(found: Many) -> list[dict[str, Any]]:
    """What is printed and saved of each model of many series, the best in validation first."""
    validation, test = found.mase("validation"), found.mase()
    differences = found.differences()
    adjusted = dict(zip(differences, holm([d.p for d in differences.values()]), strict=True))
    return [
        {
            "name": name,
            "setting": found.settings[name],
            "at_edge": found.at_edge[name],
            "validation_mase": float(validation[name].mean()),
            "test_mase": float(test[name].mean()),
            "test_mase_by_series": test[name].tolist(),
            "difference": asdict(differences[name]) | {"p": float(adjusted[name])}
            if name in differences
            else None,
        }
        for name in sorted(validation, key=lambda name: validation[name].mean())
    ]


def many_text(rows: list[dict[str, Any]], found: Many) -> str:
    """The table for a person."""
    lines = [f"{'mean MASE':26}{'validation':>11}{'test':>9}  difference to the best [95 %], p"]
    lines += [
        f"{row['name']:26}{row['validation_mase']:11.3g}{row['test_mase']:9.3g}  "
        f"{_difference(row['difference'])}"
        for row in rows
    ]
    lines.append(f"differences in pairs over {len(found.names)} series, p by Holm")
    lines += [
        f"{row['name']}: the best {name} is the last allowed"
        for row in rows
        for name in row["at_edge"]
    ]
    return "\n".join([*lines, f"best in validation: {found.best}"])


def as_json(summary: dict[str, Any]) -> bytes:
    """What ``json.loads`` reads."""
    return (json.dumps(summary, indent=1) + "\n").encode()


def as_csv(table: "pd.DataFrame") -> bytes:
    """A table with every digit, and dates as ``read_series`` reads them."""
    index = table.index
    if isinstance(index, pd.DatetimeIndex):
        days = (index == index.normalize()).all() and index.tz is None
        index = index.strftime("%Y-%m-%d") if days else index.map(pd.Timestamp.isoformat)
    return table.set_axis(index).to_csv(index_label="time", lineterminator="\n").encode()
