"""Hold the line: robots spread along a curve that none of them sees."""
