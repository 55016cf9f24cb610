extension CalendarDate {
    /// The day in UTC of a count of seconds since 1970 (Howard Hinnant's algorithm: years that begin in March).
    public init(secondsSince1970 seconds: UInt32) {
        let days = Int(seconds / 86_400) + 719_468
        let era = days / 146_097
        let dayOfEra = days % 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let march = (5 * dayOfYear + 2) / 153
        self.day = dayOfYear - (153 * march + 2) / 5 + 1
        self.month = march < 10 ? march + 3 : march - 9
        self.year = yearOfEra + era * 400 + (self.month <= 2 ? 1 : 0)
    }
}
