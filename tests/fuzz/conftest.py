"""Says after a run what became of the inputs."""


def pytest_terminal_summary(terminalreporter):
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    found = [value for report in reports for key, value in report.user_properties if key == "fuzz"]
    if not found:
        return
    total = 0
    for case, outcomes, slowest, largest in found:
        count = sum(outcomes.values())
        total += count
        terminalreporter.write_line(
            f"{case + ':':28} {count:6,} inputs, {outcomes['read']:6,} read, {outcomes['refused']:6,} "
            f"refused, slowest {slowest:.2f} s, largest process {largest} MB"
        )
    terminalreporter.write_line(f"{total:,} inputs in all")
