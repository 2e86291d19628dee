package api

import (
	"regexp"
	"time"
)

var cardDigits = regexp.MustCompile(`^[0-9]{12,19}$`)

// IsCardNumber says that the text may be the number of a card: 12 to 19 digits, the last
// of which is the check digit of the others (ISO/IEC 7812-1, annex B).
func IsCardNumber(text string) bool {
	if !cardDigits.MatchString(text) {
		return false
	}
	sum := 0
	for i := range len(text) {
		digit := int(text[len(text)-1-i] - '0')
		if i%2 == 1 {
			digit *= 2
		}
		sum += digit/10 + digit%10
	}
	return sum%10 == 0
}

// month is that of a card's expiry.
const month = "2006-01"

// CardExpiry reads the month, YYYY-MM, to whose last day a card is good. past says that it
// is over everywhere.
func CardExpiry(text string, now time.Time) (ok, past bool) {
	m, err := time.Parse(month, text)
	if err != nil || m.Format(month) != text {
		return false, false
	}
	return true, text < now.UTC().Add(-12*time.Hour).Format(month)
}
