package money

import "strings"

// Format shows the amount's number as people of a language write it, without its currency:
// with point before the decimals, and group between each three digits of the whole.
func (a Amount) Format(point, group string) string {
	number, _, _ := strings.Cut(a.String(), " ")
	number, minus := strings.CutPrefix(number, "-")
	whole, decimals, hasDecimals := strings.Cut(number, ".")
	var b strings.Builder
	if minus {
		b.WriteString("-")
	}
	for i, digit := range whole {
		if i > 0 && (len(whole)-i)%3 == 0 {
			b.WriteString(group)
		}
		b.WriteRune(digit)
	}
	if hasDecimals {
		b.WriteString(point + decimals)
	}
	return b.String()
}
