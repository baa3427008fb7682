//! Whether something grows: the straight line that fits a row of readings best.

/// By how much `y` grows when `x` grows by one, over all readings (least squares); 0 where nothing can be said.
pub fn slope(readings: &[(f64, f64)]) -> f64 {
    let count = readings.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| readings.iter().map(of).sum::<f64>() / count;
    let (x_mean, y_mean) = (mean(|reading| reading.0), mean(|reading| reading.1));
    let square: f64 = readings.iter().map(|(x, _)| (x - x_mean).powi(2)).sum();
    let product: f64 = readings.iter().map(|(x, y)| (x - x_mean) * (y - y_mean)).sum();
    if square > 0.0 { product / square } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_a_line() {
        assert_eq!(slope(&[(0.0, 5.0), (1.0, 7.0), (2.0, 9.0)]), 2.0);
        assert_eq!(slope(&[(0.0, 1.0), (1.0, 3.0), (2.0, 1.0)]), 0.0);
        assert_eq!((slope(&[]), slope(&[(3.0, 4.0)])), (0.0, 0.0));
    }
}
