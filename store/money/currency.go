package money

import "strconv"

// Currency is an ISO 4217 numeric code: 810 is RUR, 643 RUB, 980 UAH. Historical codes
// are known as well as current ones, since old clients still send them; where a number
// was given twice, the current currency has it.
type Currency uint16

// ParseCurrency returns the currency of an ISO 4217 number, if there is one.
func ParseCurrency(number int64) (Currency, bool) {
	c := Currency(number)
	return c, int64(c) == number && c.Known()
}

// ParseAlpha returns the currency of three letters, upper case, if there is one: "RUR" is
// 810. No two of the table have the same letters.
func ParseAlpha(text string) (Currency, bool) {
	c, ok := byAlpha[text]
	return c, ok
}

var byAlpha = func() map[string]Currency {
	found := make(map[string]Currency, len(currencies))
	for c, known := range currencies {
		found[known.alpha] = c
	}
	return found
}()

// Known says whether ISO 4217 has, or had, a currency of this code.
func (c Currency) Known() bool {
	_, ok := currencies[c]
	return ok
}

// Alpha returns the three letters, or the number where the currency is not known.
func (c Currency) Alpha() string {
	if known, ok := currencies[c]; ok {
		return known.alpha
	}
	return strconv.Itoa(int(c))
}

// Exponent returns how many decimals one unit has: 2 for most, 0 for JPY, 3 for KWD.
func (c Currency) Exponent() int { return currencies[c].exponent }

// currencies is ISO 4217 lists one (current) and three (historical), without metals,
// funds that nobody holds, and test codes.
var currencies = map[Currency]struct {
	alpha    string
	exponent int
}{
	8:   {"ALL", 2},
	12:  {"DZD", 2},
	31:  {"AZM", 2},
	32:  {"ARS", 2},
	36:  {"AUD", 2},
	40:  {"ATS", 2},
	44:  {"BSD", 2},
	48:  {"BHD", 3},
	50:  {"BDT", 2},
	51:  {"AMD", 2},
	52:  {"BBD", 2},
	56:  {"BEF", 2},
	60:  {"BMD", 2},
	64:  {"BTN", 2},
	68:  {"BOB", 2},
	72:  {"BWP", 2},
	84:  {"BZD", 2},
	90:  {"SBD", 2},
	96:  {"BND", 2},
	100: {"BGL", 2},
	104: {"MMK", 2},
	108: {"BIF", 0},
	112: {"BYB", 0},
	116: {"KHR", 2},
	124: {"CAD", 2},
	132: {"CVE", 2},
	136: {"KYD", 2},
	144: {"LKR", 2},
	152: {"CLP", 0},
	156: {"CNY", 2},
	170: {"COP", 2},
	174: {"KMF", 0},
	180: {"ZRN", 2},
	188: {"CRC", 2},
	191: {"HRK", 2},
	192: {"CUP", 2},
	196: {"CYP", 2},
	203: {"CZK", 2},
	208: {"DKK", 2},
	214: {"DOP", 2},
	222: {"SVC", 2},
	230: {"ETB", 2},
	232: {"ERN", 2},
	233: {"EEK", 2},
	238: {"FKP", 2},
	242: {"FJD", 2},
	246: {"FIM", 2},
	250: {"FRF", 2},
	262: {"DJF", 0},
	268: {"GEK", 0},
	270: {"GMD", 2},
	276: {"DEM", 2},
	288: {"GHC", 2},
	292: {"GIP", 2},
	300: {"GRD", 2},
	320: {"GTQ", 2},
	324: {"GNF", 0},
	328: {"GYD", 2},
	332: {"HTG", 2},
	340: {"HNL", 2},
	344: {"HKD", 2},
	348: {"HUF", 2},
	352: {"ISK", 0},
	356: {"INR", 2},
	360: {"IDR", 2},
	364: {"IRR", 2},
	368: {"IQD", 3},
	372: {"IEP", 2},
	376: {"ILS", 2},
	380: {"ITL", 0},
	388: {"JMD", 2},
	392: {"JPY", 0},
	398: {"KZT", 2},
	400: {"JOD", 3},
	404: {"KES", 2},
	408: {"KPW", 2},
	410: {"KRW", 0},
	414: {"KWD", 3},
	417: {"KGS", 2},
	418: {"LAK", 2},
	422: {"LBP", 2},
	426: {"LSL", 2},
	428: {"LVL", 2},
	430: {"LRD", 2},
	434: {"LYD", 3},
	440: {"LTL", 2},
	442: {"LUF", 2},
	446: {"MOP", 2},
	450: {"MGF", 0},
	454: {"MWK", 2},
	458: {"MYR", 2},
	462: {"MVR", 2},
	470: {"MTL", 2},
	478: {"MRO", 2},
	480: {"MUR", 2},
	484: {"MXN", 2},
	496: {"MNT", 2},
	498: {"MDL", 2},
	504: {"MAD", 2},
	508: {"MZM", 2},
	512: {"OMR", 3},
	516: {"NAD", 2},
	524: {"NPR", 2},
	528: {"NLG", 2},
	532: {"XCG", 2},
	533: {"AWG", 2},
	548: {"VUV", 0},
	554: {"NZD", 2},
	558: {"NIO", 2},
	566: {"NGN", 2},
	578: {"NOK", 2},
	586: {"PKR", 2},
	590: {"PAB", 2},
	598: {"PGK", 2},
	600: {"PYG", 0},
	604: {"PEN", 2},
	608: {"PHP", 2},
	616: {"PLZ", 2},
	620: {"PTE", 2},
	626: {"TPE", 0},
	634: {"QAR", 2},
	642: {"ROL", 2},
	643: {"RUB", 2},
	646: {"RWF", 0},
	654: {"SHP", 2},
	678: {"STD", 2},
	682: {"SAR", 2},
	690: {"SCR", 2},
	694: {"SLL", 2},
	702: {"SGD", 2},
	703: {"SKK", 2},
	704: {"VND", 0},
	705: {"SIT", 2},
	706: {"SOS", 2},
	710: {"ZAR", 2},
	716: {"ZWD", 2},
	724: {"ESP", 0},
	728: {"SSP", 2},
	736: {"SDD", 2},
	740: {"SRG", 2},
	748: {"SZL", 2},
	752: {"SEK", 2},
	756: {"CHF", 2},
	760: {"SYP", 2},
	762: {"TJR", 0},
	764: {"THB", 2},
	776: {"TOP", 2},
	780: {"TTD", 2},
	784: {"AED", 2},
	788: {"TND", 3},
	792: {"TRL", 0},
	795: {"TMM", 2},
	800: {"UGX", 0},
	804: {"UAK", 2},
	807: {"MKD", 2},
	810: {"RUR", 2},
	818: {"EGP", 2},
	826: {"GBP", 2},
	834: {"TZS", 2},
	840: {"USD", 2},
	858: {"UYU", 2},
	860: {"UZS", 2},
	862: {"VEB", 2},
	882: {"WST", 2},
	886: {"YER", 2},
	891: {"CSD", 2},
	894: {"ZMK", 2},
	901: {"TWD", 2},
	924: {"ZWG", 2},
	925: {"SLE", 2},
	926: {"VED", 2},
	927: {"UYW", 4},
	928: {"VES", 2},
	929: {"MRU", 2},
	930: {"STN", 2},
	931: {"CUC", 2},
	932: {"ZWL", 2},
	933: {"BYN", 2},
	934: {"TMT", 2},
	936: {"GHS", 2},
	937: {"VEF", 2},
	938: {"SDG", 2},
	940: {"UYI", 0},
	941: {"RSD", 2},
	943: {"MZN", 2},
	944: {"AZN", 2},
	946: {"RON", 2},
	947: {"CHE", 2},
	948: {"CHW", 2},
	949: {"TRY", 2},
	950: {"XAF", 0},
	951: {"XCD", 2},
	952: {"XOF", 0},
	953: {"XPF", 0},
	967: {"ZMW", 2},
	968: {"SRD", 2},
	969: {"MGA", 2},
	970: {"COU", 2},
	971: {"AFN", 2},
	972: {"TJS", 2},
	973: {"AOA", 2},
	974: {"BYR", 0},
	975: {"BGN", 2},
	976: {"CDF", 2},
	977: {"BAM", 2},
	978: {"EUR", 2},
	979: {"MXV", 2},
	980: {"UAH", 2},
	981: {"GEL", 2},
	984: {"BOV", 2},
	985: {"PLN", 2},
	986: {"BRL", 2},
	990: {"CLF", 4},
	997: {"USN", 2},
}
